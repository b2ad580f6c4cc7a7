"""The states of consignments as tables of ClearanceColumns: how a filing creates them, and how amendments and events change them."""
