"""Files of users: reading them within bounds, writing them whole or not at all."""
