"""All SQL of revenue's own database."""
