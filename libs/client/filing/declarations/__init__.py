"""Import declarations in XML as consignments: WCO DEC 3.6; tables of the data set H7."""
