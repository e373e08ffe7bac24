"""Tovuti Kuu (the national portal), the institutions' sites, and Ajira (the recruitment portal)."""
