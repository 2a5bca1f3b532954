"""What tests share: small components, run folders, functions that workers call."""
