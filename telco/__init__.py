"""The services on a plain phone: USSD menus, SMS, payments by control number."""
