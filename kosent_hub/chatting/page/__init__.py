"""The page of kosent-chat: conversations by tab, the Gradio app, the server that guards it."""
