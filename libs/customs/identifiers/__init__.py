"""Numbers that name a declaration, a postal item or a seller: their forms and check digits."""
