"""The five services. None imports another; they meet in the contracts of protos/ only."""
