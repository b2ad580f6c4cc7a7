"""The audit trail: chaining and sealing of records, its proof, evidence of one consignment, and the end of old days."""
