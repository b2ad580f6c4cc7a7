"""Commands on many consignments: in one transaction those that are named, in chunks those of one transport."""
