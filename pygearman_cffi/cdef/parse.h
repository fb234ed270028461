/* Server lists. */

gearman_return_t gearman_parse_servers(
    const char *servers, gearman_parse_server_fn *callback, void *context);
