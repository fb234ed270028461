/* The text of a return code. */

const char *gearman_strerror(gearman_return_t rc);
