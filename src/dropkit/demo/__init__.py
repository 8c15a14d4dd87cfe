"""The main job on real data: does dropout help a model that routes a chatbot's questions?"""
