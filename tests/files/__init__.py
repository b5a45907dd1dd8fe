"""Files: their bytes, who may send and fetch them, what is swept, and what a name may do (nothing)."""
