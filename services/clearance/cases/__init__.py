"""Cases of officers: their events and states, and which consignments belong to their relation."""
