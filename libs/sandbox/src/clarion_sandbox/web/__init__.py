"""The HTTPS providers: APNs, FCM with its token server, Web Push, and the control API."""
