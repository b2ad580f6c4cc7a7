"""Goods: those that a request names, movements, licences of controlled goods, and applications of rights holders."""
