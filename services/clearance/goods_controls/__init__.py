"""Controls of goods as data: which goods need a licence or a control by which agency, by jurisdiction, direction and day."""
