"""Between the routes and the services: who may ask for what, and what goes without saying."""
