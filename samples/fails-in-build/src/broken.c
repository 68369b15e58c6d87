int answer(void)
{
    return forty_two;
}
