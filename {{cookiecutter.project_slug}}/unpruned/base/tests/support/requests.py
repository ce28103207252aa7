"""Requests that many tests send to the API."""

CALL = {"to_number": "+14155550123"}
OTHER = {"to_number": "+14155550124"}
KEY = {"Idempotency-Key": "order-42"}
