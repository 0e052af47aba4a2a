"""Microsoft Entra ID, through Microsoft Graph v1.0."""
