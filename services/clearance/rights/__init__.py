"""Applications of holders of intellectual property rights: which goods match them, and the examination that follows."""
