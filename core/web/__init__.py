"""What every page shares: layout, components, translation, sessions, CSRF, forms and error pages."""
