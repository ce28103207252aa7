"""The controllers, between routes and services: rules that hold for every caller."""
