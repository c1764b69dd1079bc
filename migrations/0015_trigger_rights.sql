-- The functions of triggers also run for statements of other programs, whose search_path and rights are not the hub's. So they find
-- the hub's tables in their own schema, and imports are counted with the rights of the function's owner.
DO $$
DECLARE
    found record;
BEGIN
    FOR found IN
        SELECT p.oid::regprocedure AS function, n.nspname AS place FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
        WHERE p.oid IN (to_regproc('hub_events_deleted'), to_regproc('hub_revocations_changed'), to_regproc('hub_imports_changed'))
    LOOP
        EXECUTE format('ALTER FUNCTION %s SET search_path = %I, pg_temp', found.function, found.place);
    END LOOP;
END
$$;
ALTER FUNCTION hub_imports_changed() SECURITY DEFINER;
REVOKE EXECUTE ON FUNCTION hub_imports_changed() FROM PUBLIC;
