"""The threads that compute: live analysis, the captures that a person asked for, and the supervision of all of them."""
