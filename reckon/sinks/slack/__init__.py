"""Slack: messages as Block Kit, posted by a bot token or through an incoming webhook.

`blocks` needs nothing but the standard library; `sink` imports the SDK and aiohttp, so import it only where Slack is
configured.
"""
