"""No random numbers: xcnn draws its own."""
