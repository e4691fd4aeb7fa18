"""What is told of a fleet's backups, made from what the places hold and what the hosts say of themselves."""
