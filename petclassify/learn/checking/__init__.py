"""What is wrong with a data set, as far as features tell."""
