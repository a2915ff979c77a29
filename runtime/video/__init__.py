"""Films: reading and writing files of moving pictures, and their sound; nothing here knows about dreaming."""
