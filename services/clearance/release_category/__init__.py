"""The category of each consignment by the WCO's Immediate Release Guidelines. Pure. Its law: libs/release_law."""
