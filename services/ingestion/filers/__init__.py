"""The register of filers: what an entry has, and what a representation entitles to. Pure."""
