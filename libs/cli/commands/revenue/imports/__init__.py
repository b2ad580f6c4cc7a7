"""`luxor revenue import`: files of banks and of authorities, read and checked."""
