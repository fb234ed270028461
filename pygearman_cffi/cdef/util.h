/* Versions and names. */

const char *gearman_version(void);
const char *gearman_bugreport(void);
const char *gearman_verbose_name(gearman_verbose_t verbose);
