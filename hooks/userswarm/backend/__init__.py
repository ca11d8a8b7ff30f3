"""For backends: create UserSwarms, wait for them, find where a user's traffic goes."""
