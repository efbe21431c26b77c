-- Dispatchers compare a recipient's revision with the one that a delivery was planned with.

GRANT USAGE ON SCHEMA preference TO clarion_dispatcher;
GRANT SELECT (app_id, recipient_ref, revision) ON preference.recipient TO clarion_dispatcher;
