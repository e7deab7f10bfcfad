"""Which further tests tell valid circuits apart, and how many circuits pass all of them?"""
