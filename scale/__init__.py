"""What Nightshift does at scale, and what it costs there: a simulation, bounds on paper, and AWS's list prices."""
