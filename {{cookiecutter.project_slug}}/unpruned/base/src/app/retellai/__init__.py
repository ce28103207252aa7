"""Everything that speaks Retell: the client, its types and the signature check."""
