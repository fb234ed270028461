/* Cancelling a job. gearmand 1.1.20 always answers GEARMAN_JOB_NOT_FOUND. */

gearman_return_t gearman_client_cancel_job(
    gearman_client_st *client_shell, gearman_job_handle_t job_handle);
