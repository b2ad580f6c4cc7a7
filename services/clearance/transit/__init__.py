"""Movements of goods to another office under customs control: the time limits as data, and how a movement begins and ends."""
