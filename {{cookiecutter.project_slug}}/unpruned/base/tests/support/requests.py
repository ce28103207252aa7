"""What callers of the API ask for in many tests."""

CALL = {"to_number": "+14155550123"}
OTHER = {"to_number": "+14155550124"}
KEY = {"Idempotency-Key": "order-42"}
