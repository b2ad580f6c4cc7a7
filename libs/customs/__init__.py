"""The field's vocabulary: money, codes, identifiers, parties, the 64 partitions. Pure: no I/O, no clock."""
