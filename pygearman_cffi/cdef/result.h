/* The result of a task, and of an aggregator. */

int64_t gearman_result_integer(const gearman_result_st *self);
bool gearman_result_boolean(const gearman_result_st *self);
gearman_string_t gearman_result_string(const gearman_result_st *self);
gearman_return_t gearman_result_store_string(
    gearman_result_st *self, gearman_string_t arg);
void gearman_result_store_integer(gearman_result_st *self, int64_t value);
gearman_return_t gearman_result_store_value(
    gearman_result_st *self, const void *value, size_t size);
size_t gearman_result_size(const gearman_result_st *self);
const char *gearman_result_value(const gearman_result_st *self);
bool gearman_result_is_null(const gearman_result_st *self);
