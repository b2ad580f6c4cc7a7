"""The life of a consignment: its states and transitions, the decision, debts, screening, inspections, adjustments and returns."""
