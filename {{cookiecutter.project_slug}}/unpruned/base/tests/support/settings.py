"""Settings that an app must not start with, and the one that is wrong."""

WRONG_SETTINGS: list[tuple[dict[str, str], str]] = [
    ({"RETELL_API_KEY": ""}, "RETELL_API_KEY"),
    ({"RETELL_API_KEY": "  "}, "RETELL_API_KEY"),
    ({"API_KEYS": ""}, "API_KEYS"),
    ({"API_KEYS": " , "}, "API_KEYS"),
    ({"PORT": "http"}, "PORT"),
    ({"ALLOWED_COUNTRIES": "US,XX"}, "ALLOWED_COUNTRIES"),
    ({"RATE_LIMIT": "often"}, "RATE_LIMIT"),
    ({"RETELL_FROM_NUMBER": "4155550100"}, "RETELL_FROM_NUMBER"),
    ({"RATE_LIMIT": "0/minute"}, "RATE_LIMIT"),
    ({"RATE_LIMIT": "10/second;60/minute"}, "RATE_LIMIT"),
    ({"LOG_LEVEL": "loud"}, "LOG_LEVEL"),
    ({"RETELL_API_KEY": "key_é"}, "RETELL_API_KEY"),
    ({"API_KEYS": '["a","b"]'}, "API_KEYS"),
    ({"RETELL_BASE_URL": "api.retellai.com"}, "RETELL_BASE_URL"),
]
