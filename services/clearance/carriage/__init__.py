"""Who carries under which master document."""
