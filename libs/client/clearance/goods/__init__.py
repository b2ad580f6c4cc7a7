"""Licences of controlled goods, and applications of rights holders."""
