"""Files and pictures: names, pieces, progress, previews, and the transfer of bytes on a connection of their own."""
