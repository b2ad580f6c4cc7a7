"""Import declarations in XML as consignments: WCO DEC 3.6."""
